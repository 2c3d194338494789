#ifndef MARQUEE_DATASET_DATASET_H_
#define MARQUEE_DATASET_DATASET_H_

// A wrangled data file (schemas/dataset.capnp), mapped read-only and read in place.
//
// Interactions (one per rating, in the order of the source) refer to users and items by index; each named column belongs to the
// interactions, the users or the items, and holds one value per such row. The wrangled table of 14 columns is the join of the
// three. Null is a value: it is kept and can be asked for.
//
// Thread-safe: nothing changes after Open.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace marquee {

inline constexpr uint32_t kNullCode = 0xffffffffU;

class Column {
 public:
  enum class Level { kInteraction, kUser, kItem };
  enum class Type {
    kId,      // one categorical value: a code into the column's dictionary, or kNullCode
    kIds,     // any number of them, in order
    kNumber,  // a double: a label, an age, Unix seconds; possibly null
  };

  const std::string& name() const { return name_; }
  Level level() const { return level_; }
  Type type() const { return type_; }
  size_t size() const { return size_; }

  uint32_t code(size_t row) const { return codes_[row]; }  // kId
  absl::Span<const uint32_t> codes(size_t row) const {     // kIds
    return codes_.subspan(offsets_[row], offsets_[row + 1] - offsets_[row]);
  }
  bool is_null(size_t row) const { return !valid_.empty() && valid_[row] == 0; }  // kNumber
  double number(size_t row) const { return numbers_[row]; }                       // kNumber; 0 where null

  // The dictionary of kId and kIds.
  size_t values() const { return dictionary_.size(); }
  std::string_view value(uint32_t code) const { return dictionary_[code]; }
  uint64_t id(uint32_t code) const { return ids_[code]; }  // FeatureId(name, value(code))

 private:
  friend class DatasetReader;
  std::string name_;
  Level level_ = Level::kInteraction;
  Type type_ = Type::kNumber;
  size_t size_ = 0;
  absl::Span<const uint32_t> codes_;
  absl::Span<const uint64_t> offsets_;
  absl::Span<const double> numbers_;
  absl::Span<const uint8_t> valid_;
  std::vector<std::string_view> dictionary_;
  std::vector<uint64_t> ids_;
};

class Dataset {
 public:
  // Refuses a file that is no data file, of another version, truncated, or whose checksum does not match, naming the file.
  static absl::StatusOr<std::shared_ptr<const Dataset>> Open(const std::string& path);

  const std::string& name() const { return name_; }  // "ml-1m", "synthetic ml-1m" ...
  bool synthetic() const { return synthetic_; }
  uint64_t checksum() const;  // of the file's content

  size_t interactions() const { return user_of_.size(); }
  size_t users() const { return users_; }
  size_t items() const { return items_; }              // those with at least one interaction come first; see rated_items()
  size_t rated_items() const { return rated_items_; }  // items [0, rated_items()) have interactions: the candidates

  absl::Span<const uint32_t> user_of() const { return user_of_; }  // per interaction: index of its user
  absl::Span<const uint32_t> item_of() const { return item_of_; }
  absl::Span<const float> label() const { return label_; }  // the rating

  // nullptr if there is none of that name. The columns of MovieLens, of type id where nothing else is said: user_id,
  // bucketized_user_age (number), user_gender ("True" is male), user_occupation_label (number), user_occupation_text,
  // user_zip_code, raw_user_age (number, 100K only) of users; movie_id, movie_title, movie_genres (ids, the code is the label's
  // index), director, release_date (number), star of items; timestamp (number), user_rating (number) of interactions.
  const Column* column(std::string_view name) const;
  const std::vector<std::unique_ptr<Column>>& columns() const { return columns_; }  // in the order of the table

  // The columns that identify users and items ("user_id" and "movie_id" in MovieLens; users' own data may name them otherwise).
  const Column& user_key() const { return *user_key_; }
  const Column& item_key() const { return *item_key_; }

  // The row of a column's own level that an interaction refers to.
  size_t RowOf(Column::Level level, size_t interaction) const {
    return level == Column::Level::kInteraction ? interaction
           : level == Column::Level::kUser      ? user_of_[interaction]
                                                : item_of_[interaction];
  }

  ~Dataset();

 private:
  Dataset();
  friend class DatasetReader;
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
  std::string name_;
  bool synthetic_ = false;
  std::vector<std::unique_ptr<Column>> columns_;
  absl::Span<const uint32_t> user_of_;
  absl::Span<const uint32_t> item_of_;
  absl::Span<const float> label_;
  const Column* user_key_ = nullptr;
  const Column* item_key_ = nullptr;
  size_t users_ = 0;
  size_t items_ = 0;
  size_t rated_items_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_DATASET_DATASET_H_
