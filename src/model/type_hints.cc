#include "model/type_hints.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "core/config.h"

namespace sl {
namespace {

constexpr TypeHint kHints[] = {
    {"GRU CuDNNGRU GRUCell", R"({"type": "RNN", "cell": {"type": "GRUCell", "features": 64}})",
     nullptr},
    {"LSTMCell OptimizedLSTMCell CuDNNLSTM LSTMBlockCell", R"({"type": "LSTM", "units": 64})",
     R"(or an "RNN" with an "LSTMCell")"},
    {"SimpleRNN SimpleRNNCell RNNCell SimpleCell ElmanRNN",
     R"({"type": "RNN", "cell": {"type": "SimpleCell", "features": 64}})", nullptr},
    {"MGUCell MinimalGatedUnit", R"({"type": "RNN", "cell": {"type": "MGUCell", "features": 64}})",
     nullptr},
    {"ConvLSTM1D ConvLSTM2D ConvLSTMCell ConvLSTM",
     R"({"type": "RNN", "cell": {"type": "ConvLSTMCell", "features": 8, "kernel_size": [3]}})",
     nullptr},
    {"BidirectionalRNN BiLSTM BLSTM",
     R"({"type": "Bidirectional", "forward": {"type": "LSTM", "units": 64}, "backward": {"type": "LSTM", "units": 64}})",
     nullptr},
    {"BiGRU",
     R"({"type": "Bidirectional", "forward": {"type": "RNN", "cell": {"type": "GRUCell", "features": 64}}, "backward": {"type": "RNN", "cell": {"type": "GRUCell", "features": 64}}})",
     nullptr},
    {"Linear Gemm MatMul FullyConnected LazyLinear InnerProduct",
     R"({"type": "Dense", "features": 64})", nullptr},
    {"DenseGeneral LinearGeneral", R"({"type": "DenseShaped", "output_shape": [4, 16]})",
     R"("EinsumDense" takes any equation)"},
    {"Einsum Bilinear",
     R"({"type": "EinsumDense", "equation": "...a,ab->...b", "output_shape": [64]})", nullptr},
    {"Conv Convolution Convolution1D LazyConv1d CausalConv1d TemporalConv",
     R"({"type": "Conv1D", "filters": 64, "kernel_size": 3, "padding": "causal"})", nullptr},
    {"Convolution2D LazyConv2d",
     R"({"type": "Conv2D", "filters": 64, "kernel_size": [3, 3], "time_padding": "causal"})",
     nullptr},
    {"Convolution3D",
     R"({"type": "Conv3D", "filters": 64, "kernel_size": 3, "time_padding": "causal", "spatial_padding": ["same", "same"]})",
     nullptr},
    {"ConvTranspose ConvTranspose1d Convolution1DTranspose Deconv1d Deconvolution1D",
     R"({"type": "Conv1DTranspose", "filters": 64, "kernel_size": 4, "strides": 2, "padding": "causal"})",
     nullptr},
    {"ConvTranspose2d Convolution2DTranspose Deconv2d",
     R"({"type": "Conv2DTranspose", "filters": 64, "kernel_size": [3, 3], "strides": 1, "time_padding": "causal"})",
     nullptr},
    {"SeparableConvolution1D", R"({"type": "SeparableConv1D", "filters": 64, "kernel_size": 3})",
     nullptr},
    {"BatchNorm BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d SyncBatchNorm",
     R"({"type": "BatchNormalization"})", nullptr},
    {"LayerNorm", R"({"type": "LayerNormalization"})", nullptr},
    {"RMSNorm SimplifiedLayerNormalization T5LayerNorm", R"({"type": "RMSNormalization"})",
     nullptr},
    {"GroupNorm", R"({"type": "GroupNormalization", "num_groups": 4})", nullptr},
    {"InstanceNorm InstanceNorm1d InstanceNorm2d", R"({"type": "InstanceNormalization"})", nullptr},
    {"UnitNormalization Normalize LpNormalization", R"({"type": "L2Normalize"})", nullptr},
    {"Normalization", R"-({"type": "Affine"})-",
     "its scale is 1 / sqrt(variance), its bias -mean / sqrt(variance)"},
    {"WeightNorm SpectralNorm SpectralNormalization WeightNormalization",
     R"({"type": "Conv1D", "filters": 64, "kernel_size": 3, "use_weight_norm": true})",
     R"(it is a field of convolutions: "use_weight_norm" or "kernel_constraint")"},
    {"MultiHeadAttention MHA SelfAttention MultiHeadDotProductAttention GroupQueryAttention "
     "GroupedQueryAttention MultiHeadSelfAttention",
     R"({"type": "DotProductSelfAttention", "num_heads": 4, "units_per_head": 16, "max_past_horizon": 32})",
     R"(with a source "DotProductAttention")"},
    {"CrossAttention Attention",
     R"({"type": "DotProductAttention", "source_name": "source", "num_heads": 4, "units_per_head": 16})",
     nullptr},
    {"BahdanauAttention",
     R"({"type": "AdditiveAttention", "source_name": "source", "num_heads": 1, "units_per_head": 16})",
     nullptr},
    {"GmmV2Attention GravesAttention",
     R"({"type": "GmmAttention", "source_name": "source", "num_heads": 1, "units_per_head": 16, "num_components": 3, "monotonic": true})",
     nullptr},
    {"TransformerEncoderLayer TransformerEncoder TransformerDecoderLayer TransformerDecoder "
     "TransformerBlock Transformer",
     R"({"type": "Serial", "layers": []})",
     R"(of "Residual" layers, as docs/models/transformer_encoder and transformer_decoder are)"},
    {"Conformer ConformerBlock ConformerEncoder", R"({"type": "Serial", "layers": []})",
     R"(of "Residual" layers, as docs/models/causal_conformer is)"},
    {"RotaryEmbedding RotaryPositionalEmbedding RoPE RotaryPositionEmbedding",
     R"({"type": "ApplyRotaryPositionalEncoding", "max_wavelength": 10000})", nullptr},
    {"PositionalEncoding SinePositionEncoding SinusoidalPositionalEmbedding PositionalEmbedding",
     R"({"type": "AddTimingSignal"})", nullptr},
    {"Sequential Chain Compose Model Stack", R"({"type": "Serial", "layers": []})", nullptr},
    {"ModuleList ModuleDict", R"({"type": "Serial", "layers": []})",
     R"(or "Parallel", if they all take the same input)"},
    {"TimeDistributed", R"-({"type": "Serial", "layers": []})-", "layers map every step anyway"},
    {"Lambda Map", nullptr,
     "a Python function has no config: use the layer that computes it, or register a custom layer"},
    {"Concatenate Concat Merge", R"({"type": "Parallel", "layers": [], "combination": "concat"})",
     nullptr},
    {"Subtract Sub", R"({"type": "Add", "shift": -1.0})",
     R"(of two layers: "Parallel" with the combination "subtract")"},
    {"Multiply Mul Product", R"({"type": "Scale", "scale": 2.0})",
     R"(of two layers: "Parallel" with the combination "product")"},
    {"Div TrueDivide", R"({"type": "Divide", "divisor": 2.0})",
     R"(of two layers: a "Graph" with the combination "divide")"},
    {"ResidualBlock SkipConnection Shortcut", R"({"type": "Residual", "layers": []})", nullptr},
    {"Average", R"({"type": "Parallel", "layers": [], "combination": "mean"})", nullptr},
    {"MaxPool MaxPool1d",
     R"({"type": "MaxPooling1D", "pool_size": 2, "strides": 2, "padding": "causal"})", nullptr},
    {"MaxPool2d",
     R"({"type": "MaxPooling2D", "pool_size": 2, "strides": 2, "time_padding": "causal"})",
     nullptr},
    {"MaxPool3d",
     R"({"type": "MaxPooling3D", "pool_size": 2, "strides": 2, "time_padding": "causal", "spatial_padding": ["valid", "valid"]})",
     nullptr},
    {"AveragePool AvgPool AvgPool1d",
     R"({"type": "AveragePooling1D", "pool_size": 2, "strides": 2, "padding": "causal"})", nullptr},
    {"AvgPool2d",
     R"({"type": "AveragePooling2D", "pool_size": 2, "strides": 2, "time_padding": "causal"})",
     nullptr},
    {"AvgPool3d",
     R"({"type": "AveragePooling3D", "pool_size": 2, "strides": 2, "time_padding": "causal", "spatial_padding": ["valid", "valid"]})",
     nullptr},
    {"GlobalAveragePooling1D GlobalAvgPool1d AdaptiveAvgPool1d GlobalMaxPooling1D "
     "AdaptiveMaxPool1d GlobalAveragePool GlobalMaxPool AttentivePooling StatsPool",
     R"({"type": "ReduceTime", "statistic": "mean"})",
     R"(whose last step is the mean of all; with "extent": "final" it makes that step alone, layer-wise)"},
    {"GlobalAveragePooling2D GlobalMaxPooling2D AdaptiveAvgPool2d",
     R"({"type": "Mean", "axis": [2]})",
     R"(an axis of the channels is reduced by "Mean" or "Max", time by "ReduceTime")"},
    {"ReduceMean", R"({"type": "Mean", "axis": [-1]})", nullptr},
    {"ReduceSum", R"({"type": "Sum", "axis": [-1]})", nullptr},
    {"ReduceMax", R"({"type": "Max", "axis": [-1]})", nullptr},
    {"ReduceMin", R"({"type": "Min", "axis": [-1]})", nullptr},
    {"ZeroPad ZeroPad1d ZeroPad2d ConstantPad1d ZeroPadding1D ZeroPadding2D ReflectionPad1d "
     "ReplicationPad1d",
     R"({"type": "Pad", "paddings": [[1, 1]]})",
     R"(which pads channels; in time what slides has a "padding" of its own, and "Delay" puts steps before the sequence)"},
    {"Clip Clamp ClipByValue Hardtanh",
     R"({"type": "Serial", "layers": [{"type": "Maximum", "maximum": -1.0}, {"type": "Minimum", "minimum": 1.0}]})",
     nullptr},
    {"ReLU6",
     R"({"type": "Serial", "layers": [{"type": "Relu"}, {"type": "Minimum", "minimum": 6.0}]})",
     nullptr},
    {"SELU", R"({"type": "Function", "function": "selu"})", nullptr},
    {"CELU", R"({"type": "Function", "function": "celu"})", nullptr},
    {"Mish", R"({"type": "Function", "function": "mish"})", nullptr},
    {"Hardswish", R"({"type": "Function", "function": "hard_swish"})", nullptr},
    {"Hardsigmoid", R"({"type": "Function", "function": "hard_sigmoid"})", nullptr},
    {"Softsign", R"({"type": "Function", "function": "soft_sign"})", nullptr},
    {"LogSigmoid", R"({"type": "Function", "function": "log_sigmoid"})", nullptr},
    {"LogSoftmax", R"({"type": "Dense", "features": 64, "activation": "log_softmax"})",
     R"(it is the "activation" of another layer)"},
    {"Squareplus", R"({"type": "Function", "function": "squareplus"})", nullptr},
    {"Sin", R"({"type": "Function", "function": "sin"})", nullptr},
    {"Cos", R"({"type": "Function", "function": "cos"})", nullptr},
    {"Activation", R"({"type": "Function", "function": "relu"})",
     R"(or the "activation" of another layer)"},
    {"Erf", R"({"type": "Function", "function": "erf"})", nullptr},
    {"Asinh Arcsinh", R"({"type": "Function", "function": "asinh"})", nullptr},
    {"Atan Arctan", R"({"type": "Function", "function": "atan"})", nullptr},
    {"DAG Functional Network", R"({"type": "Graph", "nodes": [{"name": "a"}]})", nullptr},
    {"SiLU", R"({"type": "Swish"})", nullptr},
    {"ParametricReLU", R"({"type": "PRelu"})", nullptr},
    {"GLU", R"({"type": "GatedLinearUnit"})", nullptr},
    {"SwiGLU", R"({"type": "GatedUnit", "feature_activation": null, "gate_activation": "swish"})",
     nullptr},
    {"GEGLU", R"({"type": "GatedUnit", "feature_activation": null, "gate_activation": "gelu"})",
     nullptr},
    {"ReGLU", R"({"type": "GatedUnit", "feature_activation": null, "gate_activation": "relu"})",
     nullptr},
    {"Pow Square", R"({"type": "Power", "power": 2.0})", nullptr},
    {"Sqrt", R"({"type": "Power", "power": 0.5})", nullptr},
    {"Neg Negative", R"({"type": "Scale", "scale": -1.0})", nullptr},
    {"Reciprocal", R"({"type": "Power", "power": -1.0})", nullptr},
    {"Rescaling", R"({"type": "Scale", "scale": 0.5})", R"(and an "Add" for its offset)"},
    {"ScaleShift LayerScale", R"({"type": "Affine"})", nullptr},
    {"Dropout1d Dropout2d AlphaDropout SpatialDropout1D GaussianDropout",
     R"-({"type": "Dropout", "rate": 0.1})-", "it matters only in training"},
    {"Noop", R"({"type": "Identity"})", nullptr},
    {"EmbeddingBag Embed Lookup TokenEmbedding Gather",
     R"({"type": "Embedding", "dimension": 64, "num_embeddings": 1000})", nullptr},
    {"CategoryEncoding", R"({"type": "OneHot", "depth": 10})", nullptr},
    {"Unflatten View", R"({"type": "Reshape", "output_shape": [4, 16]})", nullptr},
    {"Permute", R"-({"type": "Transpose", "axes": [3, 2]})-",
     "axis 2 is the first of the channels"},
    {"Rearrange",
     R"({"type": "EinopsRearrange", "pattern": "(a b) -> b a", "axes_lengths": {"a": 4}})",
     nullptr},
    {"RepeatVector UpSampling1D Upsample Resize Interpolate UpsamplingNearest",
     R"({"type": "Upsample1D", "rate": 2})", nullptr},
    {"UpSampling2D UpsamplingNearest2d UpsamplingBilinear2d",
     R"({"type": "Upsample2D", "rate": [2, 2]})", nullptr},
    {"Downsample Subsample Decimate", R"({"type": "Downsample1D", "rate": 2})", nullptr},
    {"PixelShuffle DepthToSpace",
     R"({"type": "EinopsRearrange", "pattern": "h w (c a b) -> (h a) (w b) c", "axes_lengths": {"a": 2, "b": 2}})",
     R"(over time, "GlobalReshape" or "Unsqueeze")"},
    {"PixelUnshuffle SpaceToDepth",
     R"-({"type": "EinopsRearrange", "pattern": "(h a) (w b) c -> h w (c a b)", "axes_lengths": {"a": 2, "b": 2}})-",
     nullptr},
    {"ChannelShuffle",
     R"-({"type": "EinopsRearrange", "pattern": "(g c) -> (c g)", "axes_lengths": {"g": 2}})-",
     nullptr},
    {"StridedSlice Cropping1D Narrow Crop",
     R"({"type": "Slice", "slices": [{"slice": [0, 4, 1]}]})", nullptr},
    {"Reverse Flip", R"({"type": "ReverseSequence"})", nullptr},
    {"Masking", R"-({"type": "MaskInvalid"})-", "every sequence has a mask"},
    {"ChannelSplit Split Chunk",
     R"({"type": "ParallelChannels", "num_groups": 2, "combination": "concat", "child_layer": {"type": "Relu"}})",
     nullptr},
    {"MelSpectrogram",
     R"({"type": "Serial", "layers": [{"type": "Spectrogram", "frame_length": 400, "frame_step": 160, "fft_length": 512}, {"type": "LinearToMelSpectrogram", "num_mel_bins": 80, "sample_rate": 16000, "lower_edge_hertz": 0, "upper_edge_hertz": 8000}]})",
     nullptr},
    {"ISTFT",
     R"({"type": "InverseSTFT", "frame_length": 8, "frame_step": 4, "fft_length": 8, "time_padding": "causal"})",
     nullptr},
    {"Unfold", R"({"type": "Frame", "frame_length": 4, "frame_step": 2, "padding": "causal"})",
     nullptr},
    {"Fold", R"({"type": "OverlapAdd", "frame_length": 4, "frame_step": 2, "padding": "causal"})",
     nullptr},
    {"Mamba2 SelectiveSSM", R"({"type": "Mamba"})", nullptr},
    {"GriffinBlock RealGatedLRU", R"({"type": "RGLRU", "units": 64, "num_heads": 4})", nullptr},
    {"Checkpoint Remat", R"({"type": "CheckpointGradient", "layer": {"type": "Relu"}})", nullptr},
    {"Scan", R"({"type": "Repeat", "num_repeats": 2, "layer": {"type": "Relu"}})", nullptr},
    {"DepthwiseConvolution1D",
     R"({"type": "DepthwiseConv1D", "kernel_size": 3, "padding": "causal"})", nullptr},
};

// Normalizes the spelling of a type name: "torch.nn.Batch_Norm1d" becomes "batchnorm1d".
std::string plain(std::string_view name) {
  std::string out;
  for (const char c : name.substr(name.find_last_of("./:") + 1)) {
    if (c != '_' && c != '-') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

bool has_name(std::string_view names, const std::string& wanted) {
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(' '));
    if (plain(name) == wanted) return true;
    names.remove_prefix(std::min(names.size(), name.size() + 1));
  }
  return false;
}

std::string text_of(const TypeHint& hint) {
  const std::string note = hint.note ? hint.note : "";
  if (!hint.config) return note;
  const std::string type = Json::parse(hint.config)["type"].get<std::string>();
  return fmt::format("use \"{}\", as in {}{}{}", type, hint.config, note.empty() ? "" : "; ", note);
}

}  // namespace

std::span<const TypeHint> type_hints() { return kHints; }

std::string advice_for_type(std::string_view name, const std::vector<std::string>& types) {
  const std::string wanted = plain(name);
  const auto same = std::ranges::find(types, wanted, plain);
  std::string near = same == types.end() ? "" : *same;
  if (near.empty()) {
    for (const TypeHint& hint : kHints) {
      if (has_name(hint.names, wanted)) return text_of(hint);
    }
    near = nearest_name(name, types);
  }
  return near.empty() ? "" : fmt::format("did you mean \"{}\"?", near);
}

}  // namespace sl
