; Break-glass: one dormant grant, one text to wake it, people of whom some are authorised.
(declare-const mutant Int)
(declare-sort Person 0)
(declare-fun authorised (Person) Bool)
(declare-const most Int)   ; longest the owner allows
(assert (> most 0))

(declare-datatypes ((S 0)) (((mk
  (now Int)
  (dormant Bool)       ; the owner's grant is there
  (asked Int)          ; when the first person says it was asked for
  (until Int)          ; what the text says
  (count Int)          ; signatures taken
  (first Person) (second Person)
  (closed Bool)
  (revoked Bool)       ; ghost: the owner has taken the grant back
  (opened Bool)        ; ghost: an opening has happened in the last step
))))
(declare-datatypes ((I 0)) (((in (act Int) (x Int) (y Int) (who Person)))))

(define-fun init ((s S)) Bool
  (and (>= (now s) 0) (dormant s) (= (count s) 0) (not (closed s)) (not (revoked s)) (not (opened s))))
(define-fun tick ((s S) (i I) (t S)) Bool
  (and (> (x i) (now s)) (= t (mk (x i) (dormant s) (asked s) (until s) (count s) (first s) (second s) (closed s) (revoked s) false))))
(define-fun ask ((s S) (i I) (t S)) Bool
  (and (= (count s) 0) (dormant s) (not (closed s)) (or (= mutant 2) (authorised (who i)))
       (<= (x i) (now s)) (or (= mutant 3) (<= (y i) (+ (x i) most))) (> (y i) (now s))
       (= t (mk (now s) true (x i) (y i) 1 (who i) (second s) false (revoked s) false))))
(define-fun sign ((s S) (i I) (t S)) Bool
  (and (= (count s) 1) (dormant s) (not (closed s)) (or (= mutant 2) (authorised (who i)))
       (or (= mutant 1) (not (= (who i) (first s)))) (> (until s) (now s))
       (= t (mk (now s) true (asked s) (until s) 2 (first s) (who i) false (revoked s) false))))
(define-fun close ((s S) (i I) (t S)) Bool
  (= t (mk (now s) (dormant s) (asked s) (until s) (count s) (first s) (second s) true (revoked s) false)))
(define-fun revoke ((s S) (i I) (t S)) Bool
  (= t (mk (now s) (= mutant 6) (asked s) (until s) (count s) (first s) (second s) (closed s) true false)))
(define-fun open ((s S) (i I) (t S)) Bool
  (and (dormant s) (= (count s) 2) (or (= mutant 5) (not (closed s))) (or (= mutant 4) (< (now s) (until s)))
       (= t (mk (now s) true (asked s) (until s) (count s) (first s) (second s) (closed s) (revoked s) true))))
(define-fun trans ((s S) (i I) (t S)) Bool
  (or (and (= (act i) 0) (tick s i t)) (and (= (act i) 1) (ask s i t)) (and (= (act i) 2) (sign s i t))
      (and (= (act i) 3) (close s i t)) (and (= (act i) 4) (revoke s i t)) (and (= (act i) 5) (open s i t))))

(define-fun inv ((s S)) Bool
  (and (<= 0 (count s)) (<= (count s) 2) (=> (revoked s) (not (dormant s)))
       (=> (>= (count s) 1) (and (authorised (first s)) (<= (until s) (+ (asked s) most)) (<= (asked s) (now s))))
       (=> (= (count s) 2) (and (authorised (second s)) (not (= (first s) (second s)))))
       (=> (opened s) (and (= (count s) 2) (dormant s) (not (closed s)) (< (now s) (until s))))))

;! property an emergency takes two different authorised people
;! caught-by 1 2
(define-fun prop1 ((s S)) Bool
  (=> (opened s) (and (not (= (first s) (second s))) (authorised (first s)) (authorised (second s)))))
;! property it ends by itself, within what the owner allows
;! caught-by 3 4
(define-fun prop2 ((s S)) Bool (=> (opened s) (and (< (now s) (until s)) (< (now s) (+ (asked s) most)))))
;! property it ends when it is closed, and when the owner takes the grant back
;! caught-by 5 6
(define-fun prop3 ((s S)) Bool (=> (opened s) (and (not (closed s)) (not (revoked s)))))
;! reachable an opening in an emergency
(define-fun reach1 ((s S)) Bool (opened s))
