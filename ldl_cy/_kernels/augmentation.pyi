from ldl_cy._engine.op import Kernel

def random_images(
    dtype: str, *, image: tuple[int, int, int], flips: tuple[bool, bool] = (False, False),
    down: tuple[int, int] = (0, 0), right: tuple[int, int] = (0, 0),
) -> Kernel: ...
def gaussian_noise(dtype: str, *, size: int, stddev: float) -> Kernel: ...
