from ldl_cy._engine.op import Kernel

_Pair = tuple[int, int]

ROWS: int
PANEL_NUMBERS: int
FEWEST_ROWS: int
MOST_ROWS: int
LARGEST_PANEL: int
LARGEST_COPY: int
SHORT_WINDOW: int
PIECE_NUMBERS: int

def conv(
    dtype: str, *, image: tuple[int, int, int], kernel: _Pair, strides: _Pair, dilation: _Pair, padding: _Pair,
    output: _Pair, filters: int, groups: int = 1, activation: str = "identity", use_bias: bool = True,
    per_image: bool | None = None,
) -> Kernel: ...
