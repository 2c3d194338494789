#ifndef MARQUEE_SERVING_TITLE_SEARCH_H_
#define MARQUEE_SERVING_TITLE_SEARCH_H_

// Finds movies by the words of their titles. A word is found by its beginning, in any order, whatever its case and its accents:
// "amelie", "AMÉL" and "poulain fab" all find "Fabuleux destin d'Amélie Poulain, Le". All words must be found.
//
// The best match comes first, and among equals the movie with the most ratings: titles that are what was asked, then titles
// that begin with it, then those that hold every word whole, then the others. Immutable, so that threads may share it.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace marquee {

// The words of a text, without case and accents: "d'Amélie (2001)" gives "damelie", "2001". Bytes that are no UTF-8 divide
// words.
std::vector<std::string> SearchWords(std::string_view text);

class TitleSearch {
 public:
  struct Movie {
    std::string title;
    size_t ratings = 0;
  };
  explicit TitleSearch(const std::vector<Movie>& movies);

  // Positions in `movies` of the best `count`. None for a text without words.
  std::vector<uint32_t> Find(std::string_view text, size_t count) const;

 private:
  // Movies with a word that begins with `word`, ascending, each once.
  std::vector<uint32_t> Beginning(const std::string& word) const;
  int QualityOf(uint32_t movie, const std::vector<std::string>& asked) const;

  std::vector<std::vector<std::string>> titles_;  // words
  std::vector<size_t> ratings_;
  std::vector<std::pair<std::string, uint32_t>> index_;  // words and their movies, ascending
};

}  // namespace marquee

#endif  // MARQUEE_SERVING_TITLE_SEARCH_H_
