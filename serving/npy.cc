#include "serving/npy.h"

#include <fmt/format.h>

#include <algorithm>

#include "dataset/atomic_file.h"

namespace marquee {
namespace {

constexpr size_t kAlignment = 64;  // of the first value
constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);

std::string Header(std::string_view type, absl::Span<const size_t> shape) {
  std::string dimensions;
  for (const size_t dimension : shape) dimensions += fmt::format("{}, ", dimension);
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, dimensions);
  const size_t before = kMagic.size() + sizeof(uint16_t);
  text.append(kAlignment - (before + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string header(kMagic);
  header += static_cast<char>(text.size() & 0xffU);
  header += static_cast<char>(text.size() >> 8U);
  return header + text;
}

absl::Status Write(const std::string& path, std::string_view type, absl::Span<const size_t> shape, const void* values,
                   size_t bytes) {
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
  if (!file.ok()) return file.status();
  const std::string header = Header(type, shape);
  if (absl::Status status = file->Write(header.data(), header.size()); !status.ok()) return status;
  if (absl::Status status = file->Write(values, bytes); !status.ok()) return status;
  return file->Commit();
}

// The next character of `text`, which is taken from its front. A byte that begins none stands for itself.
uint32_t TakeCharacter(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text.front());
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
  if (length == 1 || text.size() < length) {
    text.remove_prefix(1);
    return first;
  }
  uint32_t character = first & (0xffU >> (length + 1));
  for (size_t i = 1; i < length; ++i) character = character << 6U | (static_cast<unsigned char>(text[i]) & 0x3fU);
  text.remove_prefix(length);
  return character;
}

}  // namespace

absl::Status WriteNpy(const std::string& path, absl::Span<const float> values, absl::Span<const size_t> shape) {
  return Write(path, "<f4", shape, values.data(), values.size() * sizeof(float));
}

absl::Status WriteNpy(const std::string& path, absl::Span<const uint64_t> values) {
  return Write(path, "<u8", {values.size()}, values.data(), values.size() * sizeof(uint64_t));
}

absl::Status WriteNpy(const std::string& path, absl::Span<const int64_t> values, absl::Span<const size_t> shape) {
  return Write(path, "<i8", shape, values.data(), values.size() * sizeof(int64_t));
}

absl::Status WriteNpy(const std::string& path, const std::vector<std::string>& values) {
  std::vector<std::vector<uint32_t>> texts;
  size_t longest = 1;
  for (std::string_view value : values) {
    std::vector<uint32_t>& text = texts.emplace_back();
    while (!value.empty()) text.push_back(TakeCharacter(value));
    longest = std::max(longest, text.size());
  }
  std::vector<uint32_t> characters;
  for (std::vector<uint32_t>& text : texts) {
    text.resize(longest, 0);
    characters.insert(characters.end(), text.begin(), text.end());
  }
  return Write(path, fmt::format("<U{}", longest), {values.size()}, characters.data(), characters.size() * sizeof(uint32_t));
}

}  // namespace marquee
