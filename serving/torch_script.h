#ifndef MARQUEE_SERVING_TORCH_SCRIPT_H_
#define MARQUEE_SERVING_TORCH_SCRIPT_H_

// A function over tensors as a file that torch.jit.load reads, in Python and C++ alike: recorded while it runs, with the
// tensors that it uses as constants.

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace marquee {

using TensorFunction = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

// `example` are inputs of two rows or more. The file is read again and must give what the function gives for them and for their
// first row alone; else Internal, and nothing is at `path`.
absl::Status WriteTorchScript(const std::string& path, const TensorFunction& function,
                              const std::vector<torch::Tensor>& example);

}  // namespace marquee

#endif  // MARQUEE_SERVING_TORCH_SCRIPT_H_
