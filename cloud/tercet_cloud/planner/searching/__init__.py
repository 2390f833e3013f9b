"""The best plan over the whole codec menu: `search` under one topology, `best_plans` under many."""
