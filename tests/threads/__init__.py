"""Loops that know their thread: IOThread, groups of them, the policy, moves."""
