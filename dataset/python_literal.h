#ifndef MARQUEE_DATASET_PYTHON_LITERAL_H_
#define MARQUEE_DATASET_PYTHON_LITERAL_H_

// Python literals as `repr` writes them, which is what the columns of The Movies Dataset hold in place of JSON: lists, tuples
// and dicts of strings ('single' or "double" quoted, with escapes), numbers, None, True and False. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace marquee {

struct PythonValue;
struct PythonEntry;
using PythonList = std::vector<PythonValue>;  // of tuples too
using PythonDict = std::vector<PythonEntry>;  // in order of the text

struct PythonValue {
  std::variant<std::monostate, bool, int64_t, double, std::string, PythonList, PythonDict> value;  // monostate: None

  // The entry of a dict; the last one where a key stands twice, as in Python. nullptr if there is none or this is no dict.
  const PythonValue* Find(std::string_view key) const;
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&value);
  }
};

struct PythonEntry {  // keys are strings
  std::string key;
  PythonValue value;
};

// The value that the whole text is. An error names the character, counted from 1, and what was expected there.
absl::StatusOr<PythonValue> ParsePythonLiteral(std::string_view text);

}  // namespace marquee

#endif  // MARQUEE_DATASET_PYTHON_LITERAL_H_
