#ifndef MARQUEE_DATASET_WRITER_H_
#define MARQUEE_DATASET_WRITER_H_

// Builds a data file (schemas/dataset.capnp) from tables in memory. Readers of raw files and the synthetic generator fill a
// DataTables; WriteDataset checks it and writes it. Not thread-safe; functions are pure but for the file.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "dataset/dataset.h"

namespace marquee {

// Gives each distinct text a code: 0, 1, 2 ... in order of first appearance.
class Dictionary {
 public:
  uint32_t Code(std::string_view text);        // adds it if it is new
  uint32_t Find(std::string_view text) const;  // kNullCode if there is none
  size_t size() const { return texts_.size(); }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>> codes_;
  std::vector<std::string> texts_;
};

// One column, filled row by row with the Add functions of its type.
struct ColumnTable {
  std::string name;
  Column::Level level = Column::Level::kInteraction;
  Column::Type type = Column::Type::kNumber;
  std::vector<uint32_t> codes;          // kId: one per row; kIds: of all rows
  std::vector<uint64_t> offsets = {0};  // kIds: rows + 1
  std::vector<double> numbers;          // kNumber: one per row, 0 where null
  std::vector<uint8_t> valid;           // kNumber: one per row; may be empty when nothing is null
  Dictionary dictionary;                // kId, kIds

  ColumnTable(std::string column_name, Column::Level column_level, Column::Type column_type);

  void AddId(std::string_view value) { codes.push_back(dictionary.Code(value)); }
  void AddNullId() { codes.push_back(kNullCode); }
  void AddIds(const std::vector<std::string_view>& values);
  void AddNumber(double value);
  void AddNullNumber();
  size_t rows() const;
  size_t nulls() const;  // kIds: rows without any value
};

struct DataTables {
  std::string name;
  bool synthetic = false;
  size_t users = 0;
  size_t items = 0;
  size_t rated_items = 0;  // items [0, rated_items) have interactions
  std::vector<uint32_t> user_of;
  std::vector<uint32_t> item_of;
  std::vector<float> label;
  std::vector<ColumnTable> columns;
  std::string user_key = "user_id";
  std::string item_key = "movie_id";

  const ColumnTable* column(std::string_view column_name) const;  // nullptr if there is none
};

// Reorders items so that those with interactions come first, in their present order. Sets rated_items.
void PutRatedItemsFirst(DataTables& tables);

// Writes the file as a whole or not at all. Refuses tables that do not fit together (lengths, indices, codes, names, keys).
absl::Status WriteDataset(const DataTables& tables, const std::string& path);

}  // namespace marquee

#endif  // MARQUEE_DATASET_WRITER_H_
