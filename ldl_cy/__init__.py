from ldl_cy._version import __version__
