"""For all tests: one thread each for what computes, here and in the processes that tests start.

As many workers as processors, each with as many threads again, wait for one another most of the time.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
