"""Accounts, roles and permissions: who may do what, in which departments."""
