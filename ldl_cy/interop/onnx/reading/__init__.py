"""What ``from_onnx`` is made of: see the picture in ``ldl_cy.interop.onnx``."""
