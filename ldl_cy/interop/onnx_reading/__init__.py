"""Reading of ONNX graphs: the file, its values in our layout, and a reader for each operator.

    onnx_import            (from_onnx: the file -> nodes -> layers -> Sequential)
         |
    layers  recurrent  shapes  arithmetic      (readers of operators)
         |       |        |        |
         +---- reader, constants, points       (layers that are made, constants that are folded, activations in parts)
                    |
              file, values                     (what is in the file, and how an axis of theirs is made of ours)
"""
