// libFuzzer's way in to what reads files; see MARQUEE_FUZZ in CMakeLists.txt. The first byte chooses the kind of file.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "tests/fuzz/file_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static marquee::fuzz::FileFuzzer* const fuzzer = [] {
    std::string folder = (std::filesystem::temp_directory_path() / "marquee-fuzz-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) std::abort();
    return new marquee::fuzz::FileFuzzer(folder);
  }();
  if (size == 0) return 0;
  const auto kind = static_cast<marquee::fuzz::FileKind>(data[0] % marquee::fuzz::kFileKinds);
  fuzzer->Try(kind, std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
