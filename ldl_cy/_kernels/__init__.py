"""The mathematics, compiled: for each kind of layer a kernel, forward and backward, on pointers.

A function such as ``dense(dtype, n_in=..., n_out=...)`` fills an ``Op`` (_engine/op.pxd): sizes, and pointers to
forward, backward, prepare ..., which the engine calls without the GIL. The equations are at the head of each file.

    layer               kernel, .pyx           made of, .pxd                   products, and kernels per instruction set

    Dense ------------> dense -----------------------------------------------> gemm_packed
    RNN LSTM GRU -----> recurrent ---+-------> recurrent_cells --------------> gemm_packed, vec/gates.inc
                                     +-------> recurrent_steps
    Conv1D Conv2D -+--> winograd ----+-------> transforms -------------------> gemm_packed, vec/winograd.inc
                   |                 +-------> pool_2x2 ---------------------> vec/pool_2x2.inc
                   +--> conv_time -----------> time_bases.py ----------------> gemm_packed, vec/basis.inc, vec/dft.inc
                   +--> conv_batch_inner ------------------------------------> vec/conv_batch_inner.inc, conv_image
                   |       | few rows
                   |       v
                   +--> conv ----------------> panels (im2row, im2col) ------> gemm_packed, conv_image
                   +--> depthwise -------------------------------------------> vec/depthwise.inc
    MaxPool AvgPool --> pooling -------------> pool_2x2 ---------------------> vec/pool_2x2.inc
    Activation -------> activation ------------------------------------------> vec/activations.inc, vec/softmax.inc
    BatchNorm --------> batch_norm ------------------------------------------> vec/batch_norm.inc
                           | for predictions
                           v
                        folded: into the weights of dense, conv ...
    LayerNorm -----+--> layer_norm ------------------------------------------> vec/layer_norm.inc
                   +--> layer_norm_axes -----> layer_norm_sums
    Permute ----------> permute ---------------------------------------------> vec.transpose
    PReLU ------------> prelu ---------------> runs
    Normalization ----> normalization -------> runs
    Embedding, CategoryEmbedding --> embedding
    others -----------> dropout  augmentation  reverse  zero_padding  custom (calls Python)
    losses -----------> losses ------+-------> row_losses -------------------> vec.exp, vec.log
                                     +---------------------------------------> vec/losses.inc, vec/log_losses.inc

Dense, convolutional and recurrent kernels also call vec.activate and vec.activate_grad (f and f') and
vec.add_column_sums (the gradient of the bias).
"""
