"""Declared queries over real databases: PostgreSQL, and MariaDB as an old enrolment system left it."""

import asyncio
import resource
import socket
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from realservers import mariadb as maria
from realservers import postgres as pg
from realservers.killing import kill_after
from realservers.patient import patient
from realservers.wire import Wire
from waterline.connectors.base import BadParameter, Config, ConnectorFault, Scope
from waterline.connectors.mariadb import MariaDb
from waterline.connectors.postgresql import PostgreSql
from waterline.connectors.run import Ready, perform

pytestmark = pytest.mark.timeout(600)
TEXT = {"type": "string"}
DAY = {"type": "string", "format": "date"}


class Enrolment:
    """A table of its own on the real server, and the queries that an app declares over it."""

    kind = ""
    make = ""
    insert = ""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.table = f"child_{uuid4().hex[:12]}"
        self.settings = {"host": "127.0.0.1", "port": str(server.port), **self.who()}
        server.sql(self.make.format(table=self.table))
        self.parameters: dict[str, Any] = {"queries": self.queries(), **self.more()}
        self.ready = self.again()

    def who(self) -> dict[str, str]:
        raise NotImplementedError

    def more(self) -> dict[str, Any]:
        return {}

    def queries(self) -> dict[str, Any]:
        table = self.table
        return {
            "find": {"sql": f"SELECT id, name, born FROM {table} WHERE name = :name", "parameters": {"name": TEXT}},
            "every": {"sql": f"SELECT * FROM {table} ORDER BY id"},
            "by_key": {"sql": f"SELECT id, name, born FROM {table} WHERE act = :key"},
            "enrol": {
                "sql": self.insert.format(table=table),
                "effect": "write",
                "parameters": {"name": TEXT, "born": DAY},
                "personal": ["name", "born"],
                "look_up": "by_key",
            },
            "rename": {
                "sql": f"UPDATE {table} SET name = :name WHERE act = :booking AND name <> :name",
                "effect": "write",
                "parameters": {"name": TEXT, "booking": TEXT},
            },
            "sly": {"sql": f"SELECT 1 FROM {table} WHERE name = ':key; DROP' -- :nothing\n AND 1 = 1"},
        }

    def again(self, parameters: dict[str, Any] | None = None, **settings: str) -> Ready:
        config = Config("legacy", {**self.settings, **settings}, parameters or self.parameters)
        return patient(self.kind, config)

    async def do(self, operation: str, key: str = "k", ready: Ready | None = None, **arguments: Any) -> dict[str, Any]:
        return await perform(ready or self.ready, operation, arguments, key, Scope("lisbon"), confirmed=True)

    async def enrol(self, key: str = "k", ready: Ready | None = None, name: str = "Ana") -> dict[str, Any]:
        return await self.do("enrol", key, ready, name=name, born="2019-05-04")

    def count(self) -> int:
        return int(self.server.sql(f"SELECT count(*) FROM {self.table}")[0][0])

    def rename_column(self) -> None:
        self.server.sql(f"ALTER TABLE {self.table} RENAME COLUMN name TO full_name")


class InPostgres(Enrolment):
    kind = "postgresql"
    make = "CREATE TABLE {table} (id serial PRIMARY KEY, name text NOT NULL, born date, act text UNIQUE)"
    insert = "INSERT INTO {table} (name, born, act) VALUES (:name, :born, :key) ON CONFLICT (act) DO NOTHING"

    def who(self) -> dict[str, str]:
        self.server.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {pg.USER}")
        self.server.sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {pg.USER}")
        self.server.sql(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {pg.USER}")
        self.server.sql(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO {pg.USER}")
        return {"database": pg.DATABASE, "user": pg.USER, "password": pg.PASSWORD}


class InMaria(Enrolment):
    kind = "mariadb"
    make = (
        "CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL, born DATE, "
        "act VARCHAR(190) UNIQUE) ENGINE=MyISAM DEFAULT CHARSET=latin1"
    )
    insert = "INSERT INTO {table} (name, born, act) VALUES (:name, :born, :key) ON DUPLICATE KEY UPDATE id = id"

    def who(self) -> dict[str, str]:
        return {"database": maria.DATABASE, "user": maria.USER, "password": maria.PASSWORD}

    def more(self) -> dict[str, Any]:
        return {"charset": "latin1"}

    def rename_column(self) -> None:
        self.server.sql(f"ALTER TABLE {self.table} CHANGE name full_name VARCHAR(60)")


@pytest.fixture(params=["postgres", "mariadb"])
def enrolment(request: pytest.FixtureRequest) -> Enrolment:
    server = request.getfixturevalue(request.param)
    return InPostgres(server) if request.param == "postgres" else InMaria(server)


@pytest.fixture
def old(mariadb: maria.Maria) -> InMaria:
    return InMaria(mariadb)


@pytest.fixture
def new(postgres: pg.Postgres) -> InPostgres:
    return InPostgres(postgres)


async def kind_of(call: Any) -> str:
    with pytest.raises(ConnectorFault) as told:
        await call
    return told.value.kind


async def test_a_record_is_written_once_whoever_repeats_it(enrolment: Enrolment) -> None:
    first = await enrolment.enrol()
    assert (first["changed"], first["again"]) == (1, False)
    again = await enrolment.enrol()
    assert (again["changed"], again["again"], again["rows"]) == (0, True, first["rows"])
    assert enrolment.count() == 1
    assert (await enrolment.do("find", name="Ana"))["rows"] == [
        {"id": first["rows"][0]["id"], "name": "Ana", "born": "2019-05-04"}
    ]


async def test_long_keys_that_begin_alike_are_two_acts(enrolment: Enrolment) -> None:
    for end in "ab":
        assert (await enrolment.enrol("k" * 250 + end))["changed"] == 1
    assert enrolment.count() == 2


async def test_two_callers_with_the_same_key_at_once_write_one_record(enrolment: Enrolment) -> None:
    results = await asyncio.gather(*[enrolment.enrol("k", enrolment.again()) for _ in range(8)])
    assert enrolment.count() == 1
    assert len({result["rows"][0]["id"] for result in results}) == 1
    assert sum(result["changed"] for result in results) == 1


async def test_a_change_with_a_condition_changes_once(enrolment: Enrolment) -> None:
    await enrolment.enrol("k")
    assert (await enrolment.do("rename", "r", name="Rita", booking="k"))["changed"] == 1
    assert (await enrolment.do("rename", "r", name="Rita", booking="k"))["changed"] == 0


@pytest.mark.parametrize("value", ["x' OR '1'='1", "%s", "100 %", ":name", "\\'; DROP TABLE x; --", "%(key)s"])
async def test_a_value_is_never_sql(enrolment: Enrolment, value: str) -> None:
    await enrolment.enrol("a")
    await enrolment.enrol("b", name=value)
    assert [row["name"] for row in (await enrolment.do("find", name=value))["rows"]] == [value]
    assert (await enrolment.do("sly"))["rows"] == []


async def test_a_read_cannot_write_even_if_it_was_declared_so(new: InPostgres) -> None:
    sql = f"WITH gone AS (DELETE FROM {new.table} RETURNING id) SELECT count(*) AS n FROM gone"
    await new.enrol()
    ready = new.again({"queries": {"sly": {"sql": sql}}})
    assert await kind_of(new.do("sly", ready=ready)) == "schema"
    assert new.count() == 1


async def test_a_long_answer_is_cut_and_said_to_be(enrolment: Enrolment) -> None:
    values = ", ".join("('x')" for _ in range(250))
    enrolment.server.sql(f"INSERT INTO {enrolment.table} (name) VALUES {values}")
    found = await enrolment.do("every")
    assert (len(found["rows"]), found["more"]) == (200, True)


MANY = {
    "postgresql": "SELECT generate_series(1, 2000000) AS n, repeat('x', 200) AS text",
    "mariadb": "SELECT seq AS n, repeat('x', 200) AS text FROM seq_1_to_2000000",
}


async def test_of_millions_of_rows_no_more_are_taken_than_are_given(enrolment: Enrolment) -> None:
    line = enrolment.again({"queries": {"all": {"sql": MANY[enrolment.kind]}}, **enrolment.more()})
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = await enrolment.do("all", ready=line)
    assert (len(found["rows"]), found["rows"][0]["n"], found["more"]) == (200, 1, True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100_000, "all of them are 400 MB"


async def test_dates_that_postgresql_has_and_python_has_not_are_given_as_they_are(new: InPostgres) -> None:
    new.server.sql(f"INSERT INTO {new.table} (name, born) VALUES ('a', 'infinity'), ('b', '0044-03-15 BC')")
    assert [row["born"] for row in (await new.do("every"))["rows"]] == ["infinity", "0044-03-15 BC"]


async def test_impossible_dates_are_null_and_told_and_the_others_are_read(old: InMaria) -> None:
    for born in ("0000-00-00", "2008-02-31", "2019-00-10", "2019-05-04"):
        sql = f"INSERT INTO {old.table} (name, born) VALUES ('a', %s)"
        old.server.sql(f"SET STATEMENT sql_mode='ALLOW_INVALID_DATES' FOR {sql}", born)
    found = await old.do("every")
    assert [row["born"] for row in found["rows"]] == [None, None, None, "2019-05-04"]
    assert found["unreadable"] == ["born"]


@pytest.mark.parametrize(
    "stored",
    ["João", "JoÃ£o"],
    ids=["latin1", "UTF-8 in a latin1 column"],
)
async def test_names_are_read_as_they_were_meant(old: InMaria, stored: str) -> None:
    old.server.sql(f"INSERT INTO {old.table} (name) VALUES (%s)", stored)
    assert [row["name"] for row in (await old.do("every"))["rows"]] == ["João"]


async def test_what_does_not_fit_is_refused_and_not_cut(old: InMaria) -> None:
    assert await kind_of(old.enrol(name="x" * 80)) == "data"
    assert await kind_of(old.enrol("k2", name="Ана 中文")) == "data"
    assert old.count() == 0
    await old.enrol("k3", name="São João € “ok”")
    assert (await old.do("every"))["rows"][0]["name"] == "São João € “ok”"


@pytest.mark.parametrize("operation", ["find", "enrol"])
@pytest.mark.parametrize("fault", ["slow", "down", "credentials", "schema"])
async def test_each_fault_is_named_and_holds_no_secret(
    enrolment: Enrolment, wire_to: Callable[[int], Wire], fault: str, operation: str
) -> None:
    wire = wire_to(enrolment.server.port)
    ready = enrolment.again(port=str(wire.port))
    if fault == "slow":
        quick = {
            name: {**query, "timeout_s": 0.3} if name == operation else query
            for name, query in enrolment.queries().items()
        }
        config = Config(
            "legacy", {**enrolment.settings, "port": str(wire.port)}, {**enrolment.parameters, "queries": quick}
        )
        kinds: dict[str, Any] = {"postgresql": PostgreSql, "mariadb": MariaDb}
        ready = Ready(kinds[enrolment.kind](config), config)
        wire.silent = True
    elif fault == "down":
        wire.close()
    elif fault == "credentials":
        ready = enrolment.again(password="wrong-password")
    else:
        enrolment.rename_column()
        ready = enrolment.again()
    given = {"find": {"name": "Ana Sousa"}, "enrol": {"name": "Ana Sousa", "born": "2019-05-04"}}[operation]
    with pytest.raises(ConnectorFault) as told:
        await enrolment.do(operation, ready=ready, **given)
    assert told.value.kind == fault, told.value.message
    for hidden in ("wrong-password", pg.PASSWORD, "Ana Sousa"):
        assert hidden not in told.value.message


async def test_a_statement_that_takes_too_long_is_stopped_by_the_server(new: InPostgres) -> None:
    query = {"sql": "SELECT pg_sleep(600) AS s", "timeout_s": 0.2}
    config = Config("legacy", new.settings, {"queries": {"wait": query}})
    connector = PostgreSql(config)
    with pytest.raises(ConnectorFault) as told:
        await asyncio.to_thread(connector._do, "wait", {}, "", Scope("lisbon"), 0.2)
    assert told.value.kind == "slow"


@pytest.mark.slow
async def test_a_caller_killed_at_any_moment_and_started_again_writes_one_record(
    enrolment: Enrolment, wire_to: Callable[[int], Wire]
) -> None:
    wire = wire_to(enrolment.server.port)
    settings = {**enrolment.settings, "port": str(wire.port)}
    config = {"name": "legacy", "settings": settings, "parameters": enrolment.parameters}
    wrote = 0
    for answers in count():
        key = f"k{answers}"
        asked = {"config": config, "kind": enrolment.kind, "operation": "enrol", "key": key}
        arguments = {"name": key, "born": "2019-05-04"}
        killed = kill_after(wire, answers, {**asked, "arguments": arguments, "scope": {"branch": "lisbon"}})
        wrote += (await enrolment.enrol(key, name=key))["again"]
        found = await enrolment.do("find", name=key)
        assert len(found["rows"]) == 1, f"killed after {answers} answers"
        if not killed:
            break
    assert wrote >= 2, "some were killed after the server had written"


@pytest.mark.parametrize(
    ("queries", "says"),
    [
        ({}, "no query"),
        ({"a": {"sql": "SELECT 1; DROP TABLE x"}}, "more than one statement"),
        ({"a": {"sql": "DELETE FROM x"}}, "declared as a read"),
        ({"a": {"sql": "DROP TABLE x", "effect": "write"}}, "no INSERT"),
        ({"a": {"sql": "SELECT :name"}}, "no parameter"),
        ({"a": {"sql": "SELECT 1", "parameters": {"name": TEXT}}}, "does not use"),
        ({"a": {"sql": "INSERT INTO x VALUES (1)", "effect": "write"}}, "insert again"),
        ({"a": {"sql": "UPDATE x SET y = 1", "effect": "write", "look_up": "b"}}, "no read"),
        ({"a": {"sql": "SELECT 1", "efect": "read"}}, "efect"),
    ],
)
def test_a_query_that_cannot_be_what_it_says_is_a_mistake_of_the_app(queries: dict[str, Any], says: str) -> None:
    for kind in (PostgreSql, MariaDb):
        with pytest.raises(BadParameter, match=says):
            kind.describe({"queries": queries}, {})


async def test_each_address_of_a_name_is_tried_and_never_where_credentials_are(
    enrolment: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def names(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host != "legacy.example":
            return real(host, port, *more, **named)
        return [i for a in ("169.254.169.254", "127.0.0.2", "127.0.0.1") for i in real(a, port, *more, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", names)
    by_name = enrolment.again(host="legacy.example")
    await enrolment.enrol(ready=by_name)
    assert (await enrolment.do("find", ready=by_name, name="Ana"))["rows"][0]["name"] == "Ana"
