#ifndef MARQUEE_DATASET_INTERACTIONS_H_
#define MARQUEE_DATASET_INTERACTIONS_H_

// Reads users' own interactions: any CSV file with a header, and a schema that says what its columns are. docs/data.md explains
// the schema by example:
//
//     name: my-shop                 # shown in results; the default is the CSV file's name
//     separator: ","                # of the CSV file
//     columns:                      # by the names of the CSV header
//       customer: {feature: user}
//       product:  {feature: item, name: product_id}
//       stars:    {feature: label}
//       bought:   {feature: time}
//       tags:     {feature: ids, level: item, separator: "|"}
//
// Errors name file, line and column. Pure but for the files.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/report.h"
#include "dataset/writer.h"

namespace marquee {

struct ColumnSchema {
  enum class Feature { kUser, kItem, kId, kIds, kNumber, kLabel, kTime };
  std::string column;  // in the CSV file
  std::string name;    // in the data file
  Feature feature = Feature::kId;
  Column::Level level = Column::Level::kInteraction;
  std::string separator = "|";  // of kIds
};

struct InteractionsSchema {
  std::string name;
  char separator = ',';
  std::vector<ColumnSchema> columns;  // exactly one kUser and one kItem, at most one kLabel
};

absl::StatusOr<InteractionsSchema> LoadInteractionsSchema(const std::string& path);

// The user and item columns are the keys of the result. Without a label column every interaction has the label 1.
absl::StatusOr<DataTables> ReadInteractions(const std::string& path, const InteractionsSchema& schema, Report& report);

}  // namespace marquee

#endif  // MARQUEE_DATASET_INTERACTIONS_H_
