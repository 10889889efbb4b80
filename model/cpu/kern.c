// The kernels of one instruction set, chosen by HS_ISA_<name> on the command line; see kern.h.
#include "model/cpu/kern.h"

#include "model/cpu/vec.h"

#include "model/cpu/kern_attn.h"
#include "model/cpu/kern_back.h"
#include "model/cpu/kern_gemm.h"
#include "model/cpu/kern_ops.h"
#include "model/cpu/kern_panel.h"
#include "model/cpu/kern_probe.h"
#include "model/cpu/kern_reduce.h"
#include "model/cpu/kern_softmax.h"

#define JOIN(a, b) a##b
#define TABLE(isa) JOIN(hs_kern_, isa)
#define QUOTE(a) #a
#define NAME(isa) QUOTE(isa)

const hs_kern TABLE(HS_ISA) = {
    .name = NAME(HS_ISA),
    .width = W,
    .mr = GEMM_MR,
    .nr = GEMM_NV * W,
    .gemm = gemm,
    .gemm_turned = gemm_turned,
    .gemm_pairs = gemm_pairs,
    .pairs = pairs,
    .panel = {[HS_PANEL_F16] = panel_f16,
              [HS_PANEL_BF16] = panel_bf16,
              [HS_PANEL_Q8] = panel_q8,
              [HS_PANEL_Q4] = panel_q4},
    .transpose = transpose,
    .scores = scores,
    .largest = largest,
    .softmax = softmax,
    .mix = mix,
    .softmax_back = softmax_back,
    .norm_scale = {[HS_NORM_RMS] = norm_rms, [HS_NORM_LAYER] = norm_layer},
    .norm_gain = norm_gain,
    .rope = rope,
    .add = add,
    .act = {[HS_ACT_SILU] = act_silu,
            [HS_ACT_GELU] = act_gelu,
            [HS_ACT_GELU_TANH] = act_gelu_tanh,
            [HS_ACT_GELU_QUICK] = act_gelu_quick,
            [HS_ACT_RELU] = act_relu},
    .shares = shares,
    .norm_back = norm_back,
    .act_back = {[HS_ACT_SILU] = silu_back,
                 [HS_ACT_GELU] = gelu_back,
                 [HS_ACT_GELU_TANH] = gelu_tanh_back,
                 [HS_ACT_GELU_QUICK] = gelu_quick_back,
                 [HS_ACT_RELU] = relu_back},
    .sum_exp = sum_exp,
    .diverge = diverge,
    .probe = {PROBE_FLOPS, probe_fma, probe_dot, probe_read},
};
