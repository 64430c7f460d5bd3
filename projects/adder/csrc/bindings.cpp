// Python module projects.adder._native: the compiled kernels, and the choice of the instruction set.
#include <cstdlib>
#include <string>

#include "adder2d_cpu.h"

namespace {

constexpr const char* kBestFirst[] = {"avx512", "avx2", "portable"};

bool supported(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (isa == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (isa == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return isa == "portable";
}

// nullptr where the build or the processor lacks it
const AdderKernels* table(const std::string& isa) {
  if (!supported(isa)) return nullptr;
  if (isa == "avx512") return adder_kernels_avx512();
  if (isa == "avx2") return adder_kernels_avx2();
  return adder_kernels_portable();
}

}  // namespace

// The variable is read at every call: a test can switch it, and reading it costs nothing beside a layer.
const AdderKernels& adder_kernels() {
  const char* forced = std::getenv("ADDER_CPU_ISA");
  if (forced != nullptr && *forced != '\0') {
    const std::string isa(forced);
    TORCH_CHECK(isa == "avx512" || isa == "avx2" || isa == "portable", "ADDER_CPU_ISA=", isa,
                ": expected avx512, avx2 or portable; unset it to let the processor decide");
    const AdderKernels* kernels = table(isa);
    TORCH_CHECK(kernels != nullptr, "ADDER_CPU_ISA=", isa,
                ": this processor or build does not have it; unset it to let the processor decide");
    return *kernels;
  }
  for (const char* isa : kBestFirst)
    if (const AdderKernels* kernels = table(isa)) return *kernels;
  return *adder_kernels_portable();
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  const auto release = pybind11::call_guard<pybind11::gil_scoped_release>();
  module.def("forward", &adder2d_forward, release, "-sum |x - w| of (N, C, H, W) and (O, C, kH, kW)");
  module.def("grad_input", &adder2d_grad_input, release, "sum rule(w - x) * grad_output");
  module.def("quant_forward", &quant_adder2d_forward, release, "the int8 layer");
  module.def("isa", [] { return std::string(adder_kernels().name); }, "instruction set in use");
  module.def("quant_rows", [] { return adder_kernels().sad_mr; }, "filters per panel of packed int8 weights");
  module.def("supported_isas", [] {
    std::vector<std::string> names;
    for (const char* isa : kBestFirst)
      if (table(isa) != nullptr) names.push_back(isa);
    return names;
  });
}
