# syntax=docker/dockerfile:1
# Two stages: the first has uv and builds, the second has only Python and what is installed. See docs/howto/install.md.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
# The same uv as the Makefile's.
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /src
ENV UV_PROJECT_ENVIRONMENT=/opt/waterline UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
# EXTRAS="--extra local" adds the local model's engine.
ARG EXTRAS=""
# First what is locked, then ours: a change of the source does not install everything again.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --no-install-project ${EXTRAS}
COPY README.md LICENSE ./
COPY src ./src
RUN uv sync --frozen --no-dev --no-editable ${EXTRAS}

FROM python:${PYTHON}
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin waterline \
    && install -d -o waterline -g waterline -m 0700 /data
COPY --from=build /opt/waterline /opt/waterline
ENV PATH=/opt/waterline/bin:$PATH \
    WATERLINE_DATA=/data \
    WATERLINE_HOST=0.0.0.0 \
    WATERLINE_PORT=8400 \
    WATERLINE_MODELS=/data/models \
    PYTHONUNBUFFERED=1
USER waterline
VOLUME /data
EXPOSE 8400
# Ctrl-C and `docker stop`: the server finishes what is under way, stores every trace and ends.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['WATERLINE_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["waterline"]
CMD ["up"]
