#ifndef MARQUEE_TESTS_UNIT_DATASET_TEST_FILES_H_
#define MARQUEE_TESTS_UNIT_DATASET_TEST_FILES_H_

// A folder of a test's own, and the licensed data where it is at hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace marquee {

class TempFolder {
 public:
  TempFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(testing::TempDir()) /
            (std::string("marquee_") + test->test_suite_name() + "_" + test->name() + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(path_);
  }
  TempFolder(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }

  std::string path() const { return path_.string(); }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }

  std::string Write(std::string_view name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return *this / name;
  }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

inline std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

template <typename T>
std::string MessageOf(const absl::StatusOr<T>& result) {
  return result.ok() ? "no error" : MessageOf(result.status());
}

inline std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The folder of MovieLens and The Movies Dataset: MARQUEE_DATA, or ../shared/data beside the source tree.
inline std::optional<std::string> RealData() {
  std::string folder = Environment("MARQUEE_DATA");
  if (folder.empty() && !Environment("MARQUEE_SOURCE").empty()) folder = Environment("MARQUEE_SOURCE") + "/../shared/data";
  if (!folder.empty() && std::filesystem::exists(folder + "/ml-1m/ratings.dat")) return folder;
  std::cout << "no real data: set MARQUEE_DATA to the folder that holds ml-1m\n";
  return std::nullopt;
}

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_DATASET_TEST_FILES_H_
