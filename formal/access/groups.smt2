; Groups: one grant to a group, one arbitrary person, and a rotation that goes on while people come, go and read.
;
; Messages are lost, repeated and reordered: a rotation is applied at any time, or never, or again.
(declare-const mutant Int)

(declare-datatypes ((S 0)) (((mk
  (now Int)
  (gen Int)          ; generation of the charter in force
  (oldest Int)       ; oldest generation whose seed the charter still passes on
  (rowgen Int)       ; generation that the gate notes for its scalar of this grant
  (fit Int)          ; generation whose key the scalar really fits
  (cutoff Int)       ; the grant means who joined by then
  (member Bool)      ; the person is in the group
  (since Int)        ; since when, as the charter says
  (joined Int)       ; ghost: since when, in truth
  (low Int) (high Int) ; generations of the group's key the person holds; none when low > high
  (served Bool)      ; ghost: the gate has answered the person from this grant in the last step
))))
(declare-datatypes ((I 0)) (((in (act Int) (x Int) (y Int)))))

(define-fun init ((s S)) Bool
  (and (= (gen s) 0) (= (oldest s) 0) (= (rowgen s) 0) (= (fit s) 0) (not (member s)) (> (low s) (high s)) (< (high s) 0)
       (not (served s)) (>= (now s) 0) (<= (cutoff s) (now s)) (= (low s) 0) (= (high s) (- 1))))

(define-fun tick ((s S) (i I) (t S)) Bool
  (and (> (x i) (now s)) (= t (mk (x i) (gen s) (oldest s) (rowgen s) (fit s) (cutoff s) (member s) (since s) (joined s) (low s) (high s) false))))

; The gate takes a newcomer's time only from the last minutes: here, only the present.
(define-fun join ((s S) (i I) (t S)) Bool
  (and (not (member s)) (or (= mutant 5) (= (x i) (now s)))
       (= t (mk (now s) (gen s) (oldest s) (rowgen s) (fit s) (cutoff s) true (x i) (now s)
                (ite (< (oldest s) (ite (> (low s) (high s)) (oldest s) (low s))) (oldest s) (ite (> (low s) (high s)) (oldest s) (low s)))
                (gen s) false))))

; The person leaves: out of the charter, which has a new generation, in one step.
(define-fun leave ((s S) (i I) (t S)) Bool
  (and (member s)
       (= t (mk (now s) (ite (= mutant 1) (gen s) (+ (gen s) 1)) (oldest s) (rowgen s) (fit s) (cutoff s) false (since s) (joined s) (low s) (high s) false))))

; Somebody else leaves: the person, if a member, has the new key with the charter.
(define-fun other-leaves ((s S) (i I) (t S)) Bool
  (= t (mk (now s) (+ (gen s) 1) (oldest s) (rowgen s) (fit s) (cutoff s) (member s) (since s) (joined s) (low s)
           (ite (member s) (+ (gen s) 1) (high s)) false)))

; The manager's factor arrives, late or for the second time: from generation x to generation y, whatever the keys are by
; now. Applied only to a grant noted to be of x, and only while y is the group's generation.
(define-fun rotate ((s S) (i I) (t S)) Bool
  (and (<= 0 (x i)) (< (x i) (y i)) (<= (y i) (gen s))
       (or (= mutant 2) (= (x i) (rowgen s))) (or (= mutant 7) (= (y i) (gen s)))
       (= t (mk (now s) (gen s) (oldest s) (gen s) (ite (= (x i) (fit s)) (y i) (- 1)) (cutoff s) (member s) (since s) (joined s) (low s) (high s) false))))

; When nothing is left to rotate, earlier seeds are dropped from the charter.
(define-fun prune ((s S) (i I) (t S)) Bool
  (and (or (= mutant 3) (= (rowgen s) (gen s)))
       (= t (mk (now s) (gen s) (gen s) (rowgen s) (fit s) (cutoff s) (member s) (since s) (joined s) (low s) (high s) false))))

; The owner grants anew, to the key in force; with a cutoff of its own.
(define-fun grant ((s S) (i I) (t S)) Bool
  (and (<= (x i) (now s))
       (= t (mk (now s) (gen s) (oldest s) (gen s) (gen s) (x i) (member s) (since s) (joined s) (low s) (high s) false))))

(define-fun search ((s S) (i I) (t S)) Bool
  (and (or (= mutant 4) (member s)) (or (= mutant 6) (<= (since s) (cutoff s)))
       (= t (mk (now s) (gen s) (oldest s) (rowgen s) (fit s) (cutoff s) (member s) (since s) (joined s) (low s) (high s) true))))

(define-fun trans ((s S) (i I) (t S)) Bool
  (or (and (= (act i) 0) (tick s i t)) (and (= (act i) 1) (join s i t)) (and (= (act i) 2) (leave s i t))
      (and (= (act i) 3) (other-leaves s i t)) (and (= (act i) 4) (rotate s i t)) (and (= (act i) 5) (prune s i t))
      (and (= (act i) 6) (grant s i t)) (and (= (act i) 7) (search s i t))))

(define-fun inv ((s S)) Bool
  (and (= (fit s) (rowgen s)) (<= 0 (oldest s)) (<= (oldest s) (rowgen s)) (<= (rowgen s) (gen s)) (<= 0 (low s))
       (<= (high s) (gen s))
       (=> (member s) (and (<= (low s) (oldest s)) (= (high s) (gen s)) (= (since s) (joined s))))
       (=> (not (member s)) (or (< (high s) (gen s)) (> (low s) (high s))))
       (=> (served s) (and (member s) (<= (since s) (cutoff s))))))

(define-fun fits ((s S) (g Int)) Bool (and (<= (low s) g) (<= g (high s))))

;! property a member holds a key that fits the grant at every step of a rotation
;! caught-by 2 3 7
(define-fun prop1 ((s S)) Bool (=> (member s) (fits s (fit s))))
;! property nobody is served who is not in the group now
;! caught-by 4
(define-fun prop2 ((s S)) Bool (=> (served s) (member s)))
;! property what the gate holds, once rotated, fits no key of who left
;! caught-by 1
(define-fun prop3 ((s S)) Bool (=> (and (not (member s)) (= (rowgen s) (gen s))) (not (fits s (fit s)))))
;! property a newcomer gets nothing from a grant that means who joined earlier
;! caught-by 5 6
(define-fun prop4 ((s S)) Bool (=> (served s) (<= (joined s) (cutoff s))))
;! reachable a member is served half-way through a rotation
(define-fun reach1 ((s S)) Bool (and (served s) (< (rowgen s) (gen s)) (fits s (fit s))))
;! reachable somebody who left holds keys that fit what is not rotated yet
(define-fun reach2 ((s S)) Bool (and (not (member s)) (fits s (fit s))))
