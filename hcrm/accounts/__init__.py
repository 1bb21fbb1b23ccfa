"""Who may sign in and what they may do: accounts, roles, sessions, bearer tokens.

Public: `permissions.PERMISSIONS` and `config/roles.yaml`, `queries.actor_for` (who acts for an account),
`service.add_account`, `service.create_token`, `sign_in` (tries, sessions), `security` (Flask-Security on our works).
"""
