"""Choosing where to compute and how to code: exact, and from measurements alone.

`topology` is what an operator states; profiles (tercet.profile) and `coding_table` are what was measured.
`cost_model` turns them into linear costs over a `cut_graph`; `exact` finds the best cut of one codec pair;
`search` the best plan over all pairs that keeps the accuracy constraint. `plan_table`, `baselines`, `fleet` and
`report` build on that.
"""
