"""The console's shell: menu map, headers, filters, paging, vendored files. Knows core only, no part of the product.

`shell` opens work and guards routes, `nav.shell_context` fills the frame of a page, `paging.keyset_page` reads one
page of a list, `filters.register_filters` puts our filters and macros into Jinja, `security.set_headers` closes
every answer, `assets` keeps the files of others as their makers published them.
"""
