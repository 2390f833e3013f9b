"""Choosing where to compute and how to code: exact, and from measurements alone.

`costs` holds what an operator states and what was measured, made into costs; `cuts` the exact best cut under them;
`measuring` what is measured for a plan; `searching` the best plan over all codecs, accuracy included; `table`,
`views`, `fleet` and `report` build on that. `planning` puts it together, `plan_command` is `tercet plan`, `replan`
makes another table over blocks that are deployed already.
"""
