"""Pages: one HTML file each, that runs in any browser, offline, from the disk.

``src/`` has the sources in TypeScript and CSS: each file directly in it is one page, or one style. ``node build.cjs``
checks and bundles them into ``built/``, which is under version control, so that an installation needs no Node.
``template`` puts a built page and its data into one file.
"""
