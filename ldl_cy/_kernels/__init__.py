"""The mathematics, compiled: for each kind of layer a kernel, forward and backward, on pointers.

A function such as ``dense(dtype, n_in=..., n_out=...)`` fills an ``Op`` (_engine/op.pxd): sizes, and pointers to
forward, backward, prepare ..., which the engine calls without the GIL. The equations are at the head of each file.

    layer               kernel, .pyx           made of, .pxd                   compiled per instruction set, BLAS

    Dense ------------> dense -----------------------------------------------> gemm_packed
    RNN LSTM GRU -----> recurrent ---+-------> recurrent_cells --------------> gemm_packed, vec/gates.inc
                                     +-------> recurrent_steps
    Conv1D Conv2D -+--> winograd ----+-------> transforms -------------------> vec/winograd.inc
                   |                 +---------------------------------------> blas.gemm
                   |                 +-------> pool_2x2 ---------------------> vec/pool_2x2.inc
                   +--> conv_time (time_bases) ------------------------------> vec/basis.inc, vec/dft.inc, gemm_packed
                   +--> conv_batch_inner ------------------------------------> vec/conv_batch_inner.inc
                   |       | few rows
                   |       v
                   +--> conv ----------------> panels (im2row, im2col) ------> blas.gemm
                   +--> depthwise -----------> panels (Window)
    MaxPool AvgPool --> pooling -----+-------> panels (Window)
                                     +-------> pool_2x2 ---------------------> vec/pool_2x2.inc
    Activation -------> activation ------------------------------------------> vec/activations.inc, vec/softmax.inc
    BatchNorm --------> batch_norm             at prediction folded.pyx puts it into the weights of dense, conv ...
    LayerNorm --------> layer_norm, or layer_norm_axes, both made of layer_norm_sums
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
