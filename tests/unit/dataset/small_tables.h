#ifndef MARQUEE_TESTS_UNIT_DATASET_SMALL_TABLES_H_
#define MARQUEE_TESTS_UNIT_DATASET_SMALL_TABLES_H_

// A data set of a few rows, with every type of column and nulls.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "dataset/writer.h"

namespace marquee {

struct SmallRow {
  uint32_t user;
  uint32_t item;
  float label;
};

// Users u0 .. and items i0 .., with nothing but their keys.
inline DataTables KeysOnly(size_t users, size_t items, const std::vector<SmallRow>& rows) {
  DataTables tables;
  tables.name = "keys";
  tables.users = users;
  tables.items = items;
  for (const SmallRow& row : rows) {
    tables.user_of.push_back(row.user);
    tables.item_of.push_back(row.item);
    tables.label.push_back(row.label);
  }
  ColumnTable user_id("user_id", Column::Level::kUser, Column::Type::kId);
  ColumnTable movie_id("movie_id", Column::Level::kItem, Column::Type::kId);
  for (size_t user = 0; user < users; ++user) user_id.AddId(fmt::format("u{}", user));
  for (size_t item = 0; item < items; ++item) movie_id.AddId(fmt::format("i{}", item));
  tables.columns = {user_id, movie_id};
  PutRatedItemsFirst(tables);
  return tables;
}

// The same with a time for each row.
inline DataTables WithTimes(DataTables tables, const std::vector<double>& times) {
  ColumnTable column("timestamp", Column::Level::kInteraction, Column::Type::kNumber);
  for (const double time : times) column.AddNumber(time);
  tables.columns.push_back(column);
  return tables;
}

// 2 users, 3 items of which i1 has no row, 3 interactions.
inline DataTables SmallTables() {
  DataTables tables = KeysOnly(2, 3, {});
  tables.name = "small tables";
  tables.user_of = {0, 1, 0};
  tables.item_of = {2, 0, 0};
  tables.label = {4, 1.5F, 5};
  ColumnTable tags("tags", Column::Level::kItem, Column::Type::kIds);
  tags.AddIds({"red", "blue"});
  tags.AddIds({"green"});
  tags.AddIds({});
  ColumnTable city("city", Column::Level::kUser, Column::Type::kId);
  city.AddId("Köln");
  city.AddNullId();
  ColumnTable time("time", Column::Level::kInteraction, Column::Type::kNumber);
  time.AddNumber(-86400);
  time.AddNullNumber();
  time.AddNumber(0.25);
  tables.columns.push_back(tags);
  tables.columns.push_back(city);
  tables.columns.push_back(time);
  PutRatedItemsFirst(tables);
  return tables;
}

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_DATASET_SMALL_TABLES_H_
