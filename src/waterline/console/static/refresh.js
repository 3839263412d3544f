// Optional: a page that asks for it is fetched again every few seconds while somebody looks and nobody types.
(() => {
  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  const every = 1000 * Number(main.dataset.refresh);
  const busy = () =>
    document.hidden ||
    main.querySelector("form :focus") ||
    String(getSelection()).length > 0;
  let touched = false;
  main.addEventListener("input", () => { touched = true; });
  main.addEventListener("toggle", () => { touched = true; }, true);
  setInterval(async () => {
    if (touched || busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main[data-refresh]");
      if (!fresh || touched || busy()) return;
      const places = [...main.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
      main.replaceChildren(...fresh.childNodes);
      main.querySelectorAll(".scroll").forEach((box, i) => { box.scrollLeft = places[i] || 0; });
    } catch { /* the server is away; the page stays as it is */ }
  }, every);
})();
