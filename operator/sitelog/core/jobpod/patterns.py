r"""What the second lock looks for, in the expressions that Python and the API server (RE2) read alike.

They are matched against texts of which each ends in a newline and has no other, so that none needs `$`, which the two
read differently. No repetition stands next to one that takes the same characters, so that Python is as linear as RE2.
The chart has the same texts (charts/sitelog/templates/_pods.tpl; a test compares them).
"""

import re
from typing import Final

from sitelog.core.names import FORBIDDING_ARGUMENT, WORKER_MODULE

_SPACE: Final = r" \t\r\n\f"
_QUOTE: Final = r"\x22\x27"  # in the chart they stand between quotes themselves

# The job process by its module, its file or an import; or anything of its package but the FL client's own module.
NAMES_JOB: Final = (
    r"worker_process[^0-9A-Za-z_]"
    r"|nvflare[./]+private[./]+fed[./]+app[./]+client[./]*[^./c]"
)  # fmt: skip

# Python in a shell's text, told by a variable or a command substitution which module to run.
HIDES_MODULE: Final = (
    rf"python[0-9.]*[{_QUOTE}]?[{_SPACE}]+"
    rf"(-[^{_SPACE}$`]*[{_SPACE}]+|-[^{_SPACE}$`]*[WX][{_SPACE}]+[^-{_SPACE}$`][^{_SPACE}$`]*[{_SPACE}]+){{0,20}}"
    rf"-[A-Za-z]{{0,9}}m[{_SPACE}{_QUOTE}]*([^{_SPACE}{_QUOTE}$`][^{_SPACE}$`]*)?[$`]"
)

# A command line whose program, or the module or script that its Python runs, Kubernetes puts in for $(NAME): a Python
# that comes first, behind a wrapper, or as the image's own entrypoint.
HIDES_PROGRAM: Final = (
    r"^[^\n]*\$\("
    r"|(^|\n)([^\n]*/)?(python|pypy)[^\n/$]*\n(-[^\n$]*\n|-[^\n$]*[WX]\n[^-\n$][^\n$]*\n)*[^\n]*\$\("
    r"|^(-[BEIOPRSbdqsuv]+\n|-[WX]\n?[0-9A-Za-z_:=]+\n)+[^\n]*\$\("
    r"|^(-[BEIOPRSbdqsuv]+\n|-[WX]\n?[0-9A-Za-z_:=]+\n)*-[BEIOPRSbdqsuv]*m\n?[^\n]*\$\("
)

# An interpreter and options that bring nothing else to run; or the image's own entrypoint, and those options.
STARTS_JOB: Final = (
    r"(([^\n$]*/)?python[0-9.]*\n)?(-[BEIOPRSbdqsuv]+\n|-[WX]\n?[0-9A-Za-z_:=]+\n)*-m\n"
    + re.escape(WORKER_MODULE)
    + r"\n"
)

# Such a whole command line. The argument ends the last --set, and none after --set is an option or comes by $(NAME).
HOLDS_JOB: Final = STARTS_JOB + r"([^\n]*\n)*--set\n(([^-\n$][^\n$]*)?\n)*" + re.escape(FORBIDDING_ARGUMENT) + r"\n"
