"""A DuckDB session keeps tables that SQL can go on with."""

import threading

import duckdb
import pyarrow as pa
import pytest

from tests.datalog.programs import atom
from traincheck.datalog.duckdb_engine import DuckDBEngine, table_name
from traincheck.datalog.program import Count, Program, Rule, Variable
from traincheck.datalog.pydatalog_engine import PyDatalogEngine

FACTS = {"edge": pa.table({"From": [1, 2, 2], "to": pa.array([2, 3, 3], pa.int32())})}
BASE = {"edge": ("int", "int")}
PATH = Program(
    (
        Rule(atom("Path", "X", "Y"), (atom("edge", "X", "Y"),)),
        Rule(atom("Path", "X", "Z"), (atom("Path", "X", "Y"), atom("edge", "Y", "Z"))),
    ),
    BASE,
)


def test_materialised_predicates_are_tables():
    with DuckDBEngine().session(FACTS) as session:
        names = session.materialise(PATH, ["Path", "edge"])
        assert names == {"Path": table_name("Path"), "edge": "edge"}
        assert session.connection.execute(f'SELECT count(*) FROM "{names["Path"]}"').fetchone() == (3,)
        assert session.connection.execute('SELECT max("From") FROM edge').fetchone() == (2,)
        tables = session.connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
        assert tables == (2,), "no scratch tables stay"


def test_a_later_program_reads_what_an_earlier_one_made():
    count = Rule(
        atom("n", "X", "N"), (atom("edge", "X", "_"), Count((Variable("Y"),), (atom("Path", "X", "Y"),), Variable("N")))
    )
    with DuckDBEngine().session(FACTS) as session:
        session.materialise(PATH, ["Path"])
        later = Program((count,), {**BASE, "Path": ("int", "int")})
        assert sorted(map(tuple, (row.values() for row in session.solve(later, ["n"])["n"].to_pylist()))) == [
            (1, 2),
            (2, 1),
        ]
        session.materialise(PATH, ["Path"])
        session.forget("Path", "edge")
        assert session.connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
        assert session.solve(PATH, ["Path"])["Path"].num_rows == 3


def test_sql_never_reads_python_variables():
    hidden = FACTS["edge"]
    with DuckDBEngine().session(FACTS) as session, pytest.raises(duckdb.CatalogException):
        session.connection.execute("SELECT * FROM hidden")
    assert hidden.num_rows


def test_pydatalog_answers_in_many_threads_at_once():
    found, engine = [], PyDatalogEngine()
    threads = [
        threading.Thread(target=lambda: found.append(engine.solve(PATH, FACTS, ["Path"])["Path"].num_rows))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 6


def test_nothing_stays_registered_with_pydatalog():
    from pyDatalog import pyEngine

    PyDatalogEngine().solve(PATH, FACTS, ["Path"])
    assert not [name for name in pyEngine.Python_resolvers if name.startswith("traincheck")]
