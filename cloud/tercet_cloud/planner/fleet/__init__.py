"""A plan for every cohort of a fleet, so that what they share suffices for all.

`fleet_file` is what an operator states. `plan_pool` holds the plans of a model that may be worth having, `pricing`
makes them the options of every cohort, `fleet_problem` is the choice among options as plain numbers, `relaxation`
and `fleet_plan` solve it, `shadow_prices` says what to buy next, `report` shows it all.
"""
