"""Prints the description of a server, which is asked for with one of the keys."""

import json
import os
import sys

import requests

key = json.loads(os.environ["OPTOUT_KEYS"])["add"]
answer = requests.get(sys.argv[1], headers={"Authorization": f"Bearer {key}"}, timeout=30)
answer.raise_for_status()
print(answer.text)
