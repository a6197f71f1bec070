"""What the machine can do: how fast memory is read and float32 matrices are multiplied."""

import threading
import time

import numpy as np
import torch
from protocol import serve

SIZE = 4096
ENTRIES = 100_000_000


class Contestant:
    def __init__(self):
        self.arrays = np.ones((torch.get_num_threads(), ENTRIES // torch.get_num_threads()), np.float32)
        self.matrix = torch.rand(SIZE, SIZE)

    def bandwidth(self):
        """Bytes a second, a thread for each core."""
        threads = [threading.Thread(target=array.sum) for array in self.arrays]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.arrays.nbytes / (time.perf_counter() - start)

    @torch.inference_mode()
    def gemm(self):
        """Floating-point operations a second, by oneDNN."""
        start = time.perf_counter()
        torch.ops.mkldnn._linear_pointwise(self.matrix, self.matrix, None, "none", [], "")
        return 2 * SIZE**3 / (time.perf_counter() - start)


serve(Contestant)
