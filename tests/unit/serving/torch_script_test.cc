#include "serving/torch_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include <filesystem>

namespace marquee {
namespace {

TEST(TorchScript, LoadedFunctionGivesTheSameForOtherNumbersOfRows) {
  const std::string path = testing::TempDir() + "/function.pt";
  const torch::Tensor weight = torch::rand({4, 6});
  const TensorFunction function = [&](const std::vector<torch::Tensor>& in) {
    return at::linear(torch::cat({in[0], in[1]}, 1), weight).relu();
  };
  ASSERT_TRUE(WriteTorchScript(path, function, {torch::rand({3, 2}), torch::rand({3, 4})}).ok());
  torch::jit::Module module = torch::jit::load(path);
  const std::vector<torch::Tensor> inputs = {torch::rand({17, 2}), torch::rand({17, 4})};
  const torch::Tensor got = module.forward({inputs[0], inputs[1]}).toTensor();
  EXPECT_TRUE(torch::allclose(got, function(inputs)));
}

// A recorded function that has kept the number of rows is found out, and not written.
TEST(TorchScript, FunctionOfOneNumberOfRowsIsRefused) {
  const std::string path = testing::TempDir() + "/fixed.pt";
  const TensorFunction function = [](const std::vector<torch::Tensor>& in) { return in[0].reshape({in[0].size(0), 1, -1}); };
  const absl::Status status = WriteTorchScript(path, function, {torch::rand({3, 2})});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path));
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace marquee
