"""The tables of tasks known by name, one file per benchmark; `known_tasks.py` joins them."""
