"""ONNX: graphs as models, models and estimators as graphs.

    export    (to_onnx: layers -> nodes)            load    (from_onnx: the file -> nodes -> layers -> Sequential)
      |                                               |
    writing/  estimators   (what they predict)      reading/  layers  recurrent  shapes  arithmetic     (of operators)
              model  (inputs, outputs)                          |        |        |         |
              nodes  windows  norms  recurrent                reader  constants  points  norms
              activations                                       |     (layers made, constants folded, activations
              graph  (names, orders of axes)                    |      and norms in parts)
                                                              file  values
                                                            (what is in the file; an axis of theirs is made of ours)
"""
