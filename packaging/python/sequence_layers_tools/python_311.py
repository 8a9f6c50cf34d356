"""Makes the reference importable on Python 3.11: import this before it."""

import typing

import typing_extensions

if not hasattr(typing, 'override'):  # the reference needs 3.12
    typing.override = typing_extensions.override
