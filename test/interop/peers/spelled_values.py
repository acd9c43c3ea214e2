"""Reads words and sizes on standard input as Nova does, with oslo.utils, and answers in their order."""

import json
import sys

from oslo_utils import strutils
from oslo_utils import units


def truth(word):
    try:
        return strutils.bool_from_string(word, strict=True)
    except ValueError:
        return None


def page_size_kib(text):
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return strutils.string_to_bytes(text, return_int=True) / units.Ki
    except ValueError:
        return None


asked = json.load(sys.stdin)
json.dump({
    'words': [truth(word) for word in asked['words']],
    'sizes': [page_size_kib(size) for size in asked['sizes']],
}, sys.stdout)
