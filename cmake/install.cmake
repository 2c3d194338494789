# cmake --install build/release --prefix DIR: scheduler, wrangle and marquee in bin, ps and worker, which others start, in libexec/marquee
# (`ps` in bin would hide the system's own command).
include(GNUInstallDirs)

# A program for people, with its completion for bash, which the installed program itself prints.
function(marquee_install target)
  install(TARGETS ${target} DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(CODE "
    set(programs \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
    set(completions \"\${programs}/share/bash-completion/completions\")
    file(MAKE_DIRECTORY \"\${completions}\")
    execute_process(COMMAND \"\${programs}/${CMAKE_INSTALL_BINDIR}/${target}\" --completion OUTPUT_FILE \"\${completions}/${target}\"
                    COMMAND_ERROR_IS_FATAL ANY)")
endfunction()

install(DIRECTORY deploy/ DESTINATION ${CMAKE_INSTALL_DATADIR}/marquee)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
