"""`python -m appliance` is the command `discriminat`."""

from appliance.cli import main

main()
