"""The call graph of a trace in networkx: which nestings are worth a hypothesis."""

import networkx as nx
import pyarrow as pa


def reduced_edges(edges: pa.Table) -> pa.Table:
    """Caller and callee apis, less what other edges imply.

    Recursive apis (strongly connected) are collapsed and the rest is reduced transitively: when A calls B
    and B calls C, then 'A contains C' follows and is not worth a hypothesis of its own.
    `edges` and the result have two string columns, outer and inner.
    """
    graph = nx.DiGraph()
    graph.add_edges_from(zip(edges.column(0).to_pylist(), edges.column(1).to_pylist(), strict=True))
    condensed = nx.condensation(graph)
    reduced = nx.transitive_reduction(condensed)
    members = {node: sorted(condensed.nodes[node]["members"]) for node in condensed}
    kept = [
        (outer, inner)
        for a, b in reduced.edges
        for outer in members[a]
        for inner in members[b]
        if graph.has_edge(outer, inner)
    ]
    return pa.table(
        {
            "outer": pa.array([outer for outer, _ in kept], pa.string()),
            "inner": pa.array([inner for _, inner in kept], pa.string()),
        }
    )
