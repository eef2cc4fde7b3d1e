"""The catalogue of attacks from the command line.

python -m tests.attacks             write the table into SECURITY.md
python -m tests.attacks stories     print the tests of the lab that the rows name, for pytest
"""

import sys

from tests.attacks import ROWS
from tests.readme import GENERATED, SECURITY, fill

if sys.argv[1:] == ["stories"]:
    print(*sorted({story for row in ROWS for story in row.story}))
else:
    SECURITY.write_text(fill(SECURITY.read_text(), GENERATED[SECURITY]))
