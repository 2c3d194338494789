#include "tests/unit/worker/models/tiny_data.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>

#include "dataset/writer.h"

namespace marquee {
namespace {

ColumnTable UserColumn(const std::string& name, Column::Type type) { return {name, Column::Level::kUser, type}; }
ColumnTable ItemColumn(const std::string& name, Column::Type type) { return {name, Column::Level::kItem, type}; }

void AddUsers(uint32_t users, DataTables& tables) {
  ColumnTable id = UserColumn("user_id", Column::Type::kId);
  ColumnTable gender = UserColumn("user_gender", Column::Type::kId);
  ColumnTable age = UserColumn("bucketized_user_age", Column::Type::kNumber);
  ColumnTable zip = UserColumn("user_zip_code", Column::Type::kId);
  for (uint32_t u = 0; u < users; ++u) {
    id.AddId(fmt::format("{}", 100 + u));
    gender.AddId(u % 2 == 0 ? "True" : "False");
    age.AddNumber(18 + 10 * (u % 5));
    if (u % 3 == 0) {
      zip.AddNullId();
    } else {
      zip.AddId(fmt::format("{:05}", u % 7));
    }
  }
  for (ColumnTable* column : {&id, &gender, &age, &zip}) tables.columns.push_back(std::move(*column));
}

void AddItems(uint32_t items, DataTables& tables) {
  ColumnTable id = ItemColumn("movie_id", Column::Type::kId);
  ColumnTable genres = ItemColumn("movie_genres", Column::Type::kIds);
  ColumnTable released = ItemColumn("release_date", Column::Type::kNumber);
  ColumnTable director = ItemColumn("director", Column::Type::kId);
  for (uint32_t i = 0; i < items; ++i) {
    id.AddId(fmt::format("{}", 1 + i));
    const std::string first = fmt::format("{}", i % 4);
    const std::string second = fmt::format("{}", 4 + i % 3);
    std::vector<std::string_view> list = {first, second};
    if (i % 5 == 0) list.clear();
    if (i % 5 == 1) list.pop_back();
    genres.AddIds(list);
    if (i % 4 == 0) {
      released.AddNullNumber();
    } else {
      released.AddNumber(-1e8 + 3e7 * i);
    }
    director.AddId(fmt::format("Director {}", i / 3));
  }
  for (ColumnTable* column : {&id, &genres, &released, &director}) tables.columns.push_back(std::move(*column));
}

void AddInteractions(uint32_t interactions, DataTables& tables) {
  ColumnTable time = {"timestamp", Column::Level::kInteraction, Column::Type::kNumber};
  ColumnTable rating = {"user_rating", Column::Level::kInteraction, Column::Type::kNumber};
  std::mt19937 random(11);
  std::set<std::pair<uint32_t, uint32_t>> known;
  while (tables.label.size() < interactions) {
    const auto user = static_cast<uint32_t>(random() % tables.users);
    auto item = static_cast<uint32_t>(random() % tables.items);
    const bool own = user % kTinyGroups == item % kTinyGroups;
    if (!own && random() % 4 != 0) continue;
    if (!known.insert({user, item}).second) continue;
    // A user's and an item's own level, plus what neither explains: the group.
    const double level = 2.6 + 0.3 * (user % 3) + 0.2 * (item % 3) + (own ? 1.0 : -1.0);
    const auto label = static_cast<float>(std::clamp(std::round(level), 1.0, 5.0));
    tables.user_of.push_back(user);
    tables.item_of.push_back(item);
    tables.label.push_back(label);
    time.AddNumber(9e8 + static_cast<double>(random() % 100000));
    rating.AddNumber(label);
  }
  tables.columns.push_back(std::move(time));
  tables.columns.push_back(std::move(rating));
}

}  // namespace

TinyData MakeTinyData(uint32_t users, uint32_t items, uint32_t interactions) {
  DataTables tables;
  tables.name = "tiny";
  tables.synthetic = true;
  tables.users = users;
  tables.items = items;
  AddUsers(users, tables);
  AddItems(items, tables);
  AddInteractions(interactions, tables);
  PutRatedItemsFirst(tables);

  const std::string path = testing::TempDir() + fmt::format("tiny_{}.mq", getpid());
  const absl::Status written = WriteDataset(tables, path);
  EXPECT_TRUE(written.ok()) << written.ToString();
  TinyData tiny;
  auto data = Dataset::Open(path);
  std::filesystem::remove(path);
  EXPECT_TRUE(data.ok()) << data.status().ToString();
  tiny.data = *data;
  auto split = MakeSplit(*tiny.data, SplitConfig{});
  EXPECT_TRUE(split.ok()) << split.status().ToString();
  tiny.split = *split;
  return tiny;
}

}  // namespace marquee
