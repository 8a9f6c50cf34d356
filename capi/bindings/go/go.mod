module sequencelayers.org/sequencelayers

go 1.19
