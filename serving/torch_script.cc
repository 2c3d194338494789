#include "serving/torch_script.h"

#include <fmt/format.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/script.h>

#include <exception>
#include <sstream>
#include <utility>

#include "dataset/atomic_file.h"

namespace marquee {
namespace {

namespace jit = torch::jit;

constexpr double kTolerance = 1e-5;

jit::Module Traced(const TensorFunction& function, const std::vector<torch::Tensor>& example) {
  jit::Module module("__torch__.marquee.Function");
  jit::Stack inputs;
  for (const torch::Tensor& input : example) inputs.emplace_back(input);
  const auto traced = [&](jit::Stack stack) {
    std::vector<torch::Tensor> tensors;
    for (const c10::IValue& value : stack) tensors.push_back(value.toTensor());
    return jit::Stack{function(tensors)};
  };
  const auto no_name = [](const torch::autograd::Variable&) { return std::string(); };
  const auto recorded = jit::tracer::trace(inputs, traced, no_name, /*strict=*/true, /*force_outplace=*/false, &module);
  const c10::QualifiedName name(*module.type()->name(), "forward");
  module.type()->addMethod(module._ivalue()->compilation_unit()->create_function(name, recorded.first->graph));
  return module;
}

bool Agrees(jit::Module& module, const TensorFunction& function, const std::vector<torch::Tensor>& inputs) {
  const torch::Tensor want = function(inputs);
  const torch::Tensor got = module.forward(jit::Stack(inputs.begin(), inputs.end())).toTensor();
  return got.sizes() == want.sizes() && torch::allclose(got, want, kTolerance, kTolerance);
}

}  // namespace

absl::Status WriteTorchScript(const std::string& path, const TensorFunction& function,
                              const std::vector<torch::Tensor>& example) {
  const torch::NoGradGuard no_grad;
  try {
    std::ostringstream written;
    Traced(function, example).save(written);
    const std::string bytes = written.str();

    std::istringstream again(bytes);
    jit::Module module = jit::load(again);
    std::vector<torch::Tensor> first_row;
    for (const torch::Tensor& input : example) first_row.push_back(input.narrow(0, 0, 1));
    if (!Agrees(module, function, example) || !Agrees(module, function, first_row)) {
      return absl::InternalError(fmt::format("{}: what was recorded is not what was run", path));
    }
    absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
    if (!file.ok()) return file.status();
    if (absl::Status status = file->Write(bytes.data(), bytes.size()); !status.ok()) return status;
    return file->Commit();
  } catch (const c10::Error& error) {
    return absl::InternalError(fmt::format("{}: {}", path, error.what_without_backtrace()));
  } catch (const std::exception& error) {  // of the interpreter, which has its own
    return absl::InternalError(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace marquee
