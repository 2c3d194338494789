#include "serving/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

namespace marquee {
namespace {

using testing::HasSubstr;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The end-to-end test reads such files with numpy itself.
TEST(Npy, HeaderIsAlignedAndSaysShapeAndType) {
  const std::string path = testing::TempDir() + "/a.npy";
  ASSERT_TRUE(WriteNpy(path, std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}).ok());
  const std::string bytes = Read(path);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t header = static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]);
  EXPECT_EQ((10 + header) % 64, 0);
  EXPECT_EQ(bytes[9 + header], '\n');
  EXPECT_THAT(bytes, HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, ), }"));
  ASSERT_EQ(bytes.size(), 10 + header + 6 * sizeof(float));
  float last = 0;
  std::memcpy(&last, bytes.data() + bytes.size() - sizeof(float), sizeof(float));
  EXPECT_EQ(last, 6);
}

TEST(Npy, TextIsWideCharactersOfOneLength) {
  const std::string path = testing::TempDir() + "/b.npy";
  ASSERT_TRUE(WriteNpy(path, std::vector<std::string>{"é1", "", "abc"}).ok());
  const std::string bytes = Read(path);
  EXPECT_THAT(bytes, HasSubstr("'<U3'"));
  std::vector<uint32_t> characters(9);
  std::memcpy(characters.data(), bytes.data() + bytes.size() - 36, 36);
  EXPECT_EQ(characters, (std::vector<uint32_t>{0xe9, '1', 0, 0, 0, 0, 'a', 'b', 'c'}));
}

TEST(Npy, ErrorsNameTheFile) {
  const absl::Status status = WriteNpy("/nowhere/c.npy", std::vector<uint64_t>{1});
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere/c.npy"));
}

}  // namespace
}  // namespace marquee
