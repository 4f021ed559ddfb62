"""ONNX: graphs as models, models and estimators as graphs.

    export    (to_onnx: layers -> nodes)            load    (from_onnx: the file -> nodes -> layers -> Sequential)
      |                                               |
    writing/  estimators   (what they predict)      reading/  layers  recurrent  shapes  arithmetic     (of operators)
              model  (inputs, outputs)                          |        |        |         |
              nodes  windows  norms  recurrent                  |        |     scan  lengths  (loops, masks)
              activations                                     reader  constants  points  norms
              graph  (names, orders of axes)                    |     (layers made, constants folded, activations
                                                                |      and norms in parts)
                                                              file  values  outputs
                                                            (what is in the file; an axis of theirs is made of ours;
                                                             which value is the model's output)
"""
