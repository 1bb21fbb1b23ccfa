"""The shell of the APIs for machines: bearer tokens with scopes, errors as OperationOutcome, bundles.

`shell.require_scope` declares a route's rule, `shell.api_work` opens its work, `outcome.answer_error` says what went
wrong without details, `bundle.search_bundle` is a page of a search.
"""
